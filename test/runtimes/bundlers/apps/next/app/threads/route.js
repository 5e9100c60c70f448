import { product } from "../product.js";

export const dynamic = "force-dynamic";

export async function GET() {
  return new Response(await product());
}
