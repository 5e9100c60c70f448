import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { readdir, rm, stat } from "node:fs/promises";
import { hostname, uptime } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

/**
 * Who writes a partial file, as its name tells. A process id alone means nothing to another host or
 * container, and in a container every run is process 1; so there are the realm in which it counts, the
 * start of the process, and a random part.
 */
interface Writer {
  /** Host, boot and process namespace, hashed: within one realm, process ids tell processes apart. */
  readonly realm: string;
  readonly pid: number;
  /** Start of the process, in the units of its system. */
  readonly start: string;
}

/** The name of a file while it is being written. */
const PARTIAL = /^\..*\.([0-9a-f]{8})-(\d+)-(\w+)-[0-9a-f]{8}-\d+\.part$/s;
/** Names of partial files that versions up to 0.1 wrote. */
const OLD_PARTIAL = /^\..*\.(\d+)-\d+\.part$/s;

const self: Writer = { realm: realmOf(), pid: process.pid, start: startOf(process.pid) ?? "0" };
const random = randomBytes(4).toString("hex");
let unique = 0;

/** A name beside `name` for a file that is being written by this process, and by no other. */
export function partialName(name: string): string {
  return `.${name}.${self.realm}-${self.pid}-${self.start}-${random}-${unique++}.part`;
}

/** The writer of a partial file; `null` for any other file. */
export function writerOf(name: string): Writer | null {
  const match = PARTIAL.exec(name);
  if (match !== null) return { realm: match[1]!, pid: Number(match[2]), start: match[3]! };
  const old = OLD_PARTIAL.exec(name);
  return old === null ? null : { realm: "", pid: Number(old[1]), start: "0" };
}

/**
 * How often a writer gives a sign of life, by the time of its file, and how long
 * one is watched before it counts as dead.
 */
export const SIGN_OF_LIFE_MILLISECONDS = 1000;
const WATCH_MILLISECONDS = 6000;

/**
 * Removes what runs that were killed have left half-written in a folder. Files of runs that still write stay.
 * @param of which files to look at
 * @returns who else is writing there, for people
 */
export async function removeLeftovers(
  folder: string,
  of: (name: string) => boolean = () => true,
): Promise<string[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => writerOf(name) !== null && of(name));
  const dead: string[] = [];
  const unknown: string[] = [];
  const others = new Set<string>();
  for (const name of names) {
    const writer = writerOf(name) as Writer;
    if (isSelf(writer)) continue;
    if (writer.realm !== self.realm && writer.realm !== "") unknown.push(name);
    else if (isRunning(writer)) others.add(`process ${writer.pid}`);
    else dead.push(name);
  }
  const silent = new Set(unknown.length > 0 ? await withoutSignOfLife(folder, unknown) : []);
  for (const name of unknown) {
    if (silent.has(name)) dead.push(name);
    else others.add(`process ${(writerOf(name) as Writer).pid} of another host or container`);
  }
  for (const name of dead) await rm(join(folder, name), { force: true });
  return [...others];
}

/**
 * Watches files of writers that this host cannot see. Only changes count, not how old a file's
 * time is: clocks of hosts differ, and jump.
 */
async function withoutSignOfLife(folder: string, names: readonly string[]): Promise<string[]> {
  const signOf = async (name: string): Promise<string> => {
    const found = await stat(join(folder, name)).catch(() => null);
    return found === null ? "gone" : `${found.mtimeMs} ${found.size}`;
  };
  const before = new Map<string, string>();
  for (const name of names) before.set(name, await signOf(name));
  for (let waited = 0; waited < WATCH_MILLISECONDS && before.size > 0; waited += SIGN_OF_LIFE_MILLISECONDS) {
    await setTimeout(SIGN_OF_LIFE_MILLISECONDS);
    for (const [name, sign] of before) if ((await signOf(name)) !== sign) before.delete(name);
  }
  return [...before.keys()];
}

function isSelf({ realm, pid, start }: Writer): boolean {
  return realm === self.realm && pid === self.pid && start === self.start;
}

/**
 * Whether a process of this realm still runs. One that was killed and that nobody has waited for does not.
 */
function isRunning({ pid, start, realm }: Writer): boolean {
  if (realm === "" && pid === process.pid) return false; // left by an older version in another process of that number
  const found = statusOf(pid);
  if (found !== undefined)
    return found !== null && found.state !== "Z" && (realm === "" || found.start === start);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * State and start of a process from /proc; `null` if there is none of that
 * number, `undefined` if there is no /proc.
 */
function statusOf(pid: number): { state: string; start: string } | null | undefined {
  const own = fieldsOf(process.pid);
  if (own === undefined) return undefined;
  const fields = fieldsOf(pid);
  return fields === undefined ? null : { state: fields[0]!, start: fields[19]! };
}

/** Fields of /proc/PID/stat from the third on: the name before them may hold anything, parentheses too. */
function fieldsOf(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

function startOf(pid: number): string | undefined {
  return fieldsOf(pid)?.[19];
}

function realmOf(): string {
  const boot =
    textOr(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8")) ??
    String(Math.round((Date.now() / 1000 - uptime()) / 60));
  const namespace = textOr(() => readlinkSync("/proc/self/ns/pid")) ?? "";
  return createHash("sha256").update(`${hostname()}\n${boot}\n${namespace}`).digest("hex").slice(0, 8);
}

function textOr(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
