// Runs programs of Node two at a time, each in a process of its own.
import { spawn } from "node:child_process";

export const root = new URL("../", import.meta.url).pathname;

/** Runs a program below the root with each list of arguments. A failure makes this process fail too, at its end. */
export async function runEach(program, lists) {
  const waiting = [...lists];
  const lane = async () => {
    for (let args = waiting.shift(); args !== undefined; args = waiting.shift()) {
      if ((await statusOf([`${root}${program}`, ...args])) !== 0) process.exitCode = 1;
    }
  };
  await Promise.all([lane(), lane()]);
}

const statusOf = (args) =>
  new Promise((resolve) => {
    spawn(process.execPath, args, { cwd: root, stdio: "inherit" }).on("exit", (status) =>
      resolve(status ?? 1),
    );
  });
