import { type Checksum, createChecksum } from "./checksum.ts";
import { PageError } from "./problem.ts";
import type { Target, WrittenFile } from "./protocol.ts";

/** A file being written. It counts as done only when `close` has read it back. */
export interface OutputWriter {
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the file, reads it back, compares size and checksum. @throws PageError `verify` */
  close(onRead: (bytes: number) => void): Promise<WrittenFile>;
  /** Removes what was written. */
  discard(): Promise<void>;
}

/** Makes the output files of one run. */
export interface OutputWriters {
  create(name: string): Promise<OutputWriter>;
}

/** Bytes read back at a time. */
const READ = 1 << 22;

/** Bytes read back between two checks for a cancellation by the page. */
const CHECK_AFTER = 16 * READ;

/**
 * Outputs of a target.
 * @param inputs what is being read, which no output may replace
 * @param folder where private files go
 */
export function outputWritersFor(
  target: Target,
  inputs: readonly File[],
  folder: () => Promise<FileSystemDirectoryHandle>,
): OutputWriters {
  switch (target.kind) {
    case "file":
      return { create: (name) => chosenOutput(name, target.handle, inputs) };
    case "folder":
      return {
        create: async (path) => {
          const [parent, name] = await descend(target.handle, path);
          return chosenOutput(path, await parent.getFileHandle(name, { create: true }), inputs);
        },
      };
    case "private":
      return { create: async (path) => privateOutput(path, await folder()) };
  }
}

/** The folder of a path below `root`, made where it is missing, and the name in it. */
async function descend(
  root: FileSystemDirectoryHandle,
  path: string,
): Promise<[FileSystemDirectoryHandle, string]> {
  const parts = path.split("/");
  const name = parts.pop()!;
  let parent = root;
  for (const part of parts) parent = await parent.getDirectoryHandle(part, { create: true });
  return [parent, name];
}

/** Size and checksum of the bytes that were written, to compare with the file. */
class Expected {
  size = 0;
  private readonly checksum: Checksum;

  constructor(checksum: Checksum) {
    this.checksum = checksum;
  }

  add(bytes: Uint8Array): void {
    this.size += bytes.length;
    this.checksum.update(bytes);
  }

  /** @throws PageError `verify` */
  check(name: string, size: number, found: string): string {
    const wanted = this.checksum.digest();
    if (size !== this.size) {
      throw new PageError("verify", `${name}: wrote ${this.size} bytes, found ${size}.`);
    }
    if (found !== wanted) {
      throw new PageError("verify", `${name}: wrote bytes with XXH64 ${wanted}, found ${found}.`);
    }
    return wanted;
  }
}

/** Only Chromium has `remove`, and only Chromium lets pages choose where to write. */
type Removable = FileSystemFileHandle & { remove?(): Promise<void> };

/** A file the user chose: the browser writes beside it and moves the result into place when it is closed. */
async function chosenOutput(name: string, handle: Removable, inputs: readonly File[]): Promise<OutputWriter> {
  const before = await handle.getFile();
  const isInput = ({ name, size, lastModified }: File) =>
    name === before.name && size === before.size && lastModified === before.lastModified;
  if (before.size > 0 && inputs.some(isInput)) {
    throw new PageError("same-file", `${name} is being read: it cannot be written at the same time.`);
  }
  // A file that was there before is only replaced by a whole one; an empty one was made by choosing its name.
  let isOurs = before.size === 0;
  const expected = new Expected(await createChecksum());
  const writable = await handle.createWritable();
  return {
    async write(bytes) {
      await writable.write(bytes as Uint8Array<ArrayBuffer>);
      expected.add(bytes);
    },
    async close(onRead) {
      await writable.close();
      isOurs = true;
      const file = await handle.getFile();
      const checksum = await createChecksum();
      for (let start = 0; start < file.size; start += READ) {
        const bytes = new Uint8Array(await file.slice(start, start + READ).arrayBuffer());
        checksum.update(bytes);
        onRead(bytes.length);
      }
      return {
        name,
        size: file.size,
        checksum: expected.check(name, file.size, checksum.digest()),
        file: null,
      };
    },
    async discard() {
      await writable.abort().catch(() => {});
      if (isOurs) await handle.remove?.().catch(() => {});
    },
  };
}

/**
 * A file of the origin private file system. `write` may return fewer bytes than it was given without throwing
 * (Chromium's incognito mode does, once its memory is full), so each count is compared.
 */
async function privateOutput(path: string, folder: FileSystemDirectoryHandle): Promise<OutputWriter> {
  const [parent, name] = await descend(folder, path);
  const handle = await parent.getFileHandle(name, { create: true });
  const access = await handle.createSyncAccessHandle();
  const expected = new Expected(await createChecksum());
  return {
    async write(bytes) {
      const at = expected.size;
      const written = access.write(bytes as Uint8Array<ArrayBuffer>, { at });
      if (written !== bytes.length) {
        // Firefox writes no byte when its quota is used up.
        throw new PageError(
          written === 0 ? "space" : "short-write",
          `${path}: asked to write ${bytes.length} bytes at ${at}, the browser says ${written}.`,
        );
      }
      expected.add(bytes);
    },
    async close(onRead) {
      access.flush();
      const size = access.getSize();
      const checksum = await createChecksum();
      const buffer = new Uint8Array(READ);
      for (let at = 0; at < size; ) {
        const read = access.read(buffer, { at });
        if (read <= 0 || read > READ) break;
        checksum.update(buffer.subarray(0, read));
        onRead(read);
        at += read;
        // Messages, such as one that cancels, only arrive when this thread waits.
        if (at % CHECK_AFTER === 0) await new Promise((resolve) => setTimeout(resolve));
      }
      const found = checksum.digest();
      access.close();
      // Reads the size through a Blob, as the download will.
      const file = await handle.getFile();
      return {
        name: path,
        size,
        checksum: expected.check(path, Math.min(size, file.size), found),
        file,
      };
    },
    async discard() {
      access.close();
      await parent.removeEntry(name).catch(() => {});
    },
  };
}
