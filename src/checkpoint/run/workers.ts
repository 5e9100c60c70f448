import type { Engine } from "../../engine/engine.ts";
import { giveBack, type Source, takeSpare } from "../../io/source.ts";
import { kindOf } from "../../tensor/checks.ts";
import { BlockscaleError, type ErrorCode, type Fault } from "../../tensor/errors.ts";
import type { Preparation, WeightConversion } from "../plan/conversion.ts";
import type { Strip } from "../plan/strip.ts";
import { type ConvertedStrip, convertStrip } from "./convert.ts";
import type { Converter } from "./run.ts";

/** One end of a connection between a thread and its worker, whatever the platform calls its methods. */
export interface Port {
  post(message: unknown, transfer: ArrayBuffer[]): void;
  listen(handler: (message: unknown) => void): void;
}

/** A request to a worker, with the number that its reply will have: a plain record. */
type Numbered<R extends object> = R & { readonly id: number };

/** Errors lose their class on the way between threads: it is put back from its parts. */
type WorkerReply<T> =
  | { readonly id: number; readonly result: T }
  | { readonly id: number; readonly code: ErrorCode; readonly fault: Fault };

/** What a worker gives back, and the memory that goes with it. */
export interface Answer<T> {
  readonly result: T;
  readonly transfer: ArrayBuffer[];
}

/** Answers requests, in a worker. */
export function serveRequests<R extends object, T>(
  port: Port,
  answer: (request: R) => Promise<Answer<T>>,
): void {
  port.listen(async (message) => {
    const { id, ...request } = message as Numbered<R>;
    try {
      const { result, transfer } = await answer(request as unknown as R);
      port.post({ id, result } satisfies WorkerReply<T>, transfer);
    } catch (error) {
      const { code, fault } = error instanceof BlockscaleError ? error : internal(error);
      port.post({ id, code, fault } satisfies WorkerReply<T>, []);
    }
  });
}

interface ConversionRequest {
  readonly conversion: WeightConversion;
  readonly strip: Strip;
  readonly prepared: Preparation;
  /** Memory that the result may be put into. */
  readonly spare: ArrayBuffer | undefined;
}

/** Converts the strips that are asked for, in a worker. */
export function serveConversions(port: Port, sources: readonly Source[], engine: Engine): void {
  serveRequests<ConversionRequest, ConvertedStrip>(port, async ({ conversion, strip, prepared, spare }) => {
    if (spare !== undefined) giveBack(new Uint8Array(spare));
    const piece = await convertStrip(conversion, strip, prepared, sources, engine);
    const buffers = new Set([piece.values.buffer, piece.scales.buffer] as ArrayBuffer[]);
    return { result: piece, transfer: [...buffers] };
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

/** Workers behind one function. */
export interface Dispatcher<R extends object, T> {
  ask(request: R, transfer?: ArrayBuffer[]): Promise<T>;
  /** Fails everything under way: a worker has died. */
  fail(error: BlockscaleError): void;
}

/** Hands each request to the worker with the least to do. */
export function createDispatcher<R extends object, T>(ports: readonly Port[]): Dispatcher<R, T> {
  const waiting = new Map<number, PromiseWithResolvers<T>>();
  const load = ports.map(() => 0);
  let nextId = 0;
  let failure: BlockscaleError | null = null;
  for (const [i, port] of ports.entries()) {
    port.listen((message) => {
      const response = message as WorkerReply<T>;
      load[i]!--;
      const found = waiting.get(response.id);
      waiting.delete(response.id);
      if ("result" in response) found?.resolve(response.result);
      else found?.reject(new BlockscaleError(response.code, response.fault));
    });
  }
  return {
    ask(request, transfer = []) {
      if (failure !== null) return Promise.reject(failure);
      const id = nextId++;
      const least = load.indexOf(Math.min(...load));
      load[least]!++;
      const promise = new Promise<T>((resolve, reject) => waiting.set(id, { resolve, reject }));
      ports[least]!.post({ ...request, id }, transfer);
      return promise;
    },
    fail(error) {
      failure = error;
      for (const { reject } of waiting.values()) reject(error);
      waiting.clear();
    },
  };
}

/** Workers behind one converter. */
export interface Pool {
  readonly convert: Converter;
  /** Fails everything under way: a worker has died. */
  fail(error: BlockscaleError): void;
}

/**
 * A converter of several workers. Which one converts a strip changes no byte of the result.
 * @throws BlockscaleError `option`: no port
 */
export function createPool(ports: readonly Port[]): Pool {
  if (!Array.isArray(ports) || ports.length === 0) throw noPorts(ports);
  const { ask, fail } = createDispatcher<ConversionRequest, ConvertedStrip>(ports);
  return {
    convert(conversion, strip, prepared) {
      const spare = takeSpare();
      return ask({ conversion, strip, prepared, spare }, spare === undefined ? [] : [spare]);
    },
    fail,
  };
}

function noPorts(ports: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: "createPool: ports",
    expected: "a list of at least one port",
    got: Array.isArray(ports) ? "none" : kindOf(ports),
    fix: "Pass one { post, listen } for each worker that calls serveConversions.",
  });
}

interface PromiseWithResolvers<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}
