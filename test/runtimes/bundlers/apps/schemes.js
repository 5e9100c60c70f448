import { schemes } from "blockscale";

console.log(schemes.mxfp8);
