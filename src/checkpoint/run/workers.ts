import type { Engine } from "../../engine/engine.ts";
import { giveBack, type Source, takeSpare } from "../../io/source.ts";
import { BlockscaleError, type ErrorCode, type Fault } from "../../tensor/errors.ts";
import type { Conversion, Preparation } from "../plan/conversion.ts";
import type { Strip } from "../plan/strip.ts";
import { convertStrip, type Piece } from "./convert.ts";
import type { Converter } from "./run.ts";

/** The two ends of a connection to a worker thread, whatever the platform calls its methods. */
export interface Port {
  post(message: unknown, transfer: ArrayBuffer[]): void;
  listen(handler: (message: unknown) => void): void;
}

interface Request {
  readonly id: number;
  readonly conversion: Conversion;
  readonly strip: Strip;
  readonly prepared: Preparation;
  /** Memory that the result may be put into. */
  readonly spare: ArrayBuffer | undefined;
}

/** Errors lose their class on the way between threads: it is put back from its parts. */
type Response =
  | { readonly id: number; readonly piece: Piece }
  | { readonly id: number; readonly code: ErrorCode; readonly fault: Fault };

/** In a worker: converts the strips that are asked for. */
export function serveConversions(port: Port, sources: readonly Source[], engine: Engine): void {
  port.listen(async (message) => {
    const { id, conversion, strip, prepared, spare } = message as Request;
    if (spare !== undefined) giveBack(new Uint8Array(spare));
    try {
      const piece = await convertStrip(conversion, strip, prepared, sources, engine);
      const buffers = new Set([piece.values.buffer, piece.scales.buffer] as ArrayBuffer[]);
      port.post({ id, piece } satisfies Response, [...buffers]);
    } catch (error) {
      const { code, fault } = error instanceof BlockscaleError ? error : internal(error);
      port.post({ id, code, fault } satisfies Response, []);
    }
  });
}

function internal(error: unknown): BlockscaleError {
  return new BlockscaleError("internal", {
    where: "worker",
    expected: "no failure of our own",
    got: error instanceof Error ? (error.stack ?? error.message) : String(error),
    fix: "Please report it.",
  });
}

/** Workers behind one converter. */
export interface Pool {
  readonly convert: Converter;
  /** Fails everything under way: a worker has died. */
  fail(error: BlockscaleError): void;
}

/** Hands each strip to the worker with the least to do. Which one that is changes no byte of the result. */
export function createPool(ports: readonly Port[]): Pool {
  const waiting = new Map<number, PromiseWithResolvers<Piece>>();
  const load = ports.map(() => 0);
  let nextId = 0;
  let failure: BlockscaleError | null = null;
  for (const [i, port] of ports.entries()) {
    port.listen((message) => {
      const response = message as Response;
      load[i]!--;
      const found = waiting.get(response.id);
      waiting.delete(response.id);
      if ("piece" in response) found?.resolve(response.piece);
      else found?.reject(new BlockscaleError(response.code, response.fault));
    });
  }
  return {
    convert(conversion, strip, prepared) {
      if (failure !== null) return Promise.reject(failure);
      const id = nextId++;
      const least = load.indexOf(Math.min(...load));
      load[least]!++;
      const promise = new Promise<Piece>((resolve, reject) => waiting.set(id, { resolve, reject }));
      const spare = takeSpare();
      const request: Request = { id, conversion, strip, prepared, spare };
      ports[least]!.post(request, spare === undefined ? [] : [spare]);
      return promise;
    },
    fail(error) {
      failure = error;
      for (const { reject } of waiting.values()) reject(error);
      waiting.clear();
    },
  };
}

interface PromiseWithResolvers<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}
