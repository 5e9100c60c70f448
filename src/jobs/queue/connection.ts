import { createRequire } from "node:module";
import { isIP } from "node:net";
import type { Redis } from "ioredis";
import { BlockscaleError } from "../../tensor/errors.ts";

/** Name of the one queue that all workers of a Redis take from. */
export const QUEUE = "blockscale";

/** What BullMQ connects with. */
export interface Connection {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username?: string;
  readonly password?: string;
  readonly tls?: { readonly servername?: string };
  readonly maxRetriesPerRequest: null;
  readonly retryStrategy: (times: number) => number;
}

/**
 * Reads `redis://user:password@host:port/db`, or `rediss://`, whose certificate is verified. Messages never
 * hold the address: it may hold a password.
 * @param password where the address has none, from the environment
 * @throws BlockscaleError `option`
 */
export function parseQueue(
  address: string,
  password: string | undefined = process.env.REDISCLI_AUTH,
): Connection {
  const url = URL.canParse(address) ? new URL(address) : null;
  const db = /^\/?([0-9]{0,4})$/.exec(url?.pathname ?? "")?.[1];
  const isKnown = url?.protocol === "redis:" || url?.protocol === "rediss:";
  if (!isKnown || url.hostname === "" || db === undefined || url.search !== "" || url.hash !== "") {
    throw new BlockscaleError("option", {
      where: "--queue",
      expected:
        "redis://HOST:PORT, or rediss:// for TLS, with user and password in front and /DB behind if need be",
      got: "another form",
      fix: "Write it as redis://localhost:6379; a password may stand in REDISCLI_AUTH instead.",
    });
  }
  const secret = decodeURIComponent(url.password) || password;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return {
    host,
    port: Number(url.port || 6379),
    db: Number(db || 0),
    ...(url.username === "" ? {} : { username: decodeURIComponent(url.username) }),
    ...(secret ? { password: secret } : {}),
    // TLS takes no IP address as a server name; the certificate must hold the address all the same.
    ...(url.protocol === "rediss:" ? { tls: isIP(host) === 0 ? { servername: host } : {} } : {}),
    maxRetriesPerRequest: null,
    retryStrategy,
  };
}

/** Milliseconds before a connection that was lost is tried again. */
export function retryStrategy(times: number): number {
  return Math.min(1000, 100 * times);
}

/**
 * The error for a Redis that answers but refuses a command, or holds jobs that cannot be read. Any other
 * error is returned unchanged.
 */
export function redisErrorOf(cause: unknown): unknown {
  const isRefusal = cause instanceof Error && (cause.name === "ReplyError" || cause instanceof SyntaxError);
  if (!isRefusal) return cause;
  return new BlockscaleError(
    "io",
    {
      where: "--queue",
      expected: "a Redis of version 5 or later that takes the commands of BullMQ, and jobs of JSON in it",
      got: cause.message,
      fix: "Give blockscale a Redis of its own, or a database of its own (redis://HOST:PORT/1), and a user who may use all commands.",
    },
    { cause },
  );
}

type Bullmq = typeof import("bullmq");

/** Loads CommonJS packages: `import` would analyse each of their files first, and take twice as long. */
const require = createRequire(import.meta.url);

function loadPackage<P>(load: () => P): P {
  try {
    return load();
  } catch (cause) {
    throw new BlockscaleError(
      "option",
      {
        where: "--queue",
        expected: "the packages bullmq and ioredis",
        got: "packages that are missing or do not load",
        fix: "Install them: npm install bullmq ioredis.",
      },
      { cause },
    );
  }
}

/**
 * The library of the queue, after Redis has answered.
 * @throws BlockscaleError `option`: a library is missing; `io`: no Redis
 */
export async function openLibrary(connection: Connection): Promise<Bullmq> {
  const bullmq = loadPackage((): Bullmq => require("bullmq"));
  (await openRedis(connection)).disconnect();
  return bullmq;
}

/**
 * A connection to a Redis that has answered.
 * @param commandTimeout milliseconds after which a command fails; left out, it waits until Redis is there
 * @throws BlockscaleError `option`: a library is missing; `io`: no Redis
 */
export async function openRedis(connection: Connection, commandTimeout?: number): Promise<Redis> {
  const { Redis } = loadPackage((): typeof import("ioredis") => require("ioredis"));
  let isOpen = false;
  const redis = new Redis({
    ...connection,
    lazyConnect: true,
    // The first connection must succeed; later ones are tried again until they do.
    retryStrategy: (times) => (isOpen ? connection.retryStrategy(times) : null),
    connectTimeout: 10_000,
    ...(commandTimeout === undefined ? {} : { commandTimeout }),
  });
  let reason: unknown;
  redis.on("error", (error) => {
    reason = error;
  });
  try {
    await redis.connect();
    await redis.ping();
    isOpen = true;
    return redis;
  } catch (cause) {
    redis.disconnect();
    const why = reason ?? cause;
    throw new BlockscaleError("io", {
      where: "--queue",
      expected: `a Redis on ${connection.host}:${connection.port}`,
      got: why instanceof Error ? why.message || why.name : "no answer",
      fix: "Start redis-server there, or check address, password and certificate.",
    });
  }
}
