/** Puts a button into each heading, which sorts by it: by `data-value` where cells have one, else by text. */
export function makeSortable(table: HTMLTableElement): void {
  const body = table.tBodies[0]!;
  const heads = [...table.tHead!.rows[0]!.cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isDescending = head.ariaSort === "ascending";
      for (const other of heads) other.ariaSort = null;
      head.ariaSort = isDescending ? "descending" : "ascending";
      const sign = isDescending ? -1 : 1;
      const keyed = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[column]!) }));
      keyed.sort((a, b) => sign * compare(a.key, b.key));
      body.append(...keyed.map(({ row }) => row));
    });
  });
}

function keyOf(cell: HTMLTableCellElement): number | string {
  const { value } = cell.dataset;
  return value === undefined ? cell.textContent! : Number(value);
}

/** Compares texts by the numbers in them: layer 2 comes before layer 10. */
const byText = new Intl.Collator("en", { numeric: true });

function compare(a: number | string, b: number | string): number {
  if (typeof a === "string" || typeof b === "string") return byText.compare(`${a}`, `${b}`);
  return a === b ? 0 : a < b ? -1 : 1;
}
