import { JsonReader } from "./json.ts";

interface Member {
  readonly key: string;
  /** Offset of the key; `value` and `end` are where its value begins and ends. */
  readonly start: number;
  readonly value: number;
  readonly end: number;
}

/**
 * Sets or removes one member of a JSON object and leaves every other character as it is: parsing and printing
 * would turn 10000.0 into 10000, which other languages read as another type.
 * @param path keys from the root to the member; all but the last must
 * exist, or the text is returned unchanged
 * @param value what to set it to; `undefined` removes it
 * @throws JsonError: no JSON object
 */
export function editMember(text: string, path: readonly string[], value: unknown): string {
  return edit(text, 0, path, value);
}

function edit(text: string, start: number, path: readonly string[], value: unknown): string {
  const [key, ...rest] = path;
  const { members, end } = membersAt(text, start);
  const found = members.filter((member) => member.key === key).at(-1);
  if (rest.length > 0) {
    return found !== undefined && text[found.value] === "{" ? edit(text, found.value, rest, value) : text;
  }
  const last = members.at(-1);
  if (value === undefined) {
    if (found === undefined) return text;
    const i = members.indexOf(found);
    // The comma before the member is removed too, or for the first member the one after it.
    const [from, to] =
      i > 0 ? [members[i - 1]!.end, found.end] : [found.start, members[1]?.start ?? found.end];
    return text.slice(0, from) + text.slice(to);
  }
  const indent = /(?<![ \t])[ \t]*$/.exec(text.slice(0, members[0]?.start ?? 0))![0];
  const printed = JSON.stringify(value, null, 2).replaceAll("\n", `\n${indent}`);
  if (found !== undefined) return text.slice(0, found.value) + printed + text.slice(found.end);
  const entry = `${JSON.stringify(key)}: ${printed}`;
  if (last === undefined) return `${text.slice(0, start + 1)}\n  ${entry}\n${text.slice(end - 1)}`;
  return `${text.slice(0, last.end)},\n${indent}${entry}${text.slice(last.end)}`;
}

function membersAt(text: string, start: number): { members: Member[]; end: number } {
  const json = new JsonReader(text, { python: true });
  json.at = start;
  json.space();
  const members: Member[] = [];
  json.object((key, keyStart) => {
    const value = json.at;
    json.skip();
    members.push({ key, start: keyStart, value, end: json.at });
  });
  return { members, end: json.at };
}
