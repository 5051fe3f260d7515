// All results as a table that spreadsheets read (RFC 4180).

const COLUMNS = ["case", "slide", "check", "outcome", "status", "ms", "bytes", "reason"];

export function table(records) {
  const lines = records.map((record) => COLUMNS.map((name) => cell(record[name])).join(","));
  return [COLUMNS.join(","), ...lines, ""].join("\r\n");
}

/** What a spreadsheet would take for a formula is kept a text. */
function cell(value) {
  if (typeof value === "number") return String(Math.round(value * 10) / 10);
  const text = String(value ?? "");
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
