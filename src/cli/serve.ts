import { once } from "node:events";
import { systemFault } from "../io/node.ts";
import { type ModelFlags, openModelAt, precisionsNamed } from "./model-input.ts";
import { serverOf } from "./server.ts";

/** `blockscale serve MODEL`: answers requests until it is interrupted. */
export async function serve(
  place: string,
  flags: ModelFlags & {
    readonly host: string;
    readonly port: number;
    readonly maxTokens: number;
    readonly maxBody: number;
  },
  signal: AbortSignal,
): Promise<void> {
  const opened = await openModelAt(place, flags, signal);
  const { model, name } = opened;
  const server = serverOf({ model, name, mostBytes: flags.maxBody, maxTokens: flags.maxTokens });
  try {
    server.listen(flags.port, flags.host);
    await once(server, "listening").catch((cause) => {
      throw systemFault(`${flags.host}:${flags.port}`, "a free port to listen on", cause);
    });
    process.stderr.write(`${name}: ${precisionsNamed(model.precisions)}\n`);
    const address = server.address() as { port: number };
    process.stderr.write(
      `${name}: http://${flags.host.includes(":") ? `[${flags.host}]` : flags.host}:${address.port}/v1\n`,
    );
    if (!signal.aborted) await once(signal, "abort");
  } finally {
    server.closeAllConnections();
    server.close();
    await opened.close();
  }
}
