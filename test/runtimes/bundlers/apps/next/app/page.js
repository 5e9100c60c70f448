"use client";

import { load, schemes } from "blockscale";
import { useEffect, useState } from "react";

export default function Page() {
  const [text, setText] = useState("working");
  useEffect(() => {
    load().then((fp8) => {
      const values = Float32Array.from({ length: 64 }, (_, i) => i / 64);
      const shown = `${fp8.variant}: scales ${fp8.quantize(values, [2, 32], schemes.mxfp8).scales}`;
      setText(shown);
      parent.postMessage(shown, "*");
    });
  }, []);
  return <output>{text}</output>;
}
