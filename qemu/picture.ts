/**
 * Draws what a terminal showed as an SVG: `npm run up -- --until autonomy 2>&1 | node qemu/picture.ts > qemu/boot.svg`.
 * The picture in the README is a real boot, made by this.
 */
import { text } from "node:stream/consumers";

const fontSize = 13;
const lineHeight = 19;
const padding = 16;
const columnsMin = 80;

const lines = (await text(process.stdin)).trimEnd().split("\n");
const columns = Math.max(columnsMin, ...lines.map((line) => line.length));
const width = Math.ceil(columns * fontSize * 0.602) + 2 * padding;
const height = lines.length * lineHeight + 2 * padding;

const rows = lines.map((line, index) => {
  const y = padding + (index + 1) * lineHeight - 5;
  return `<text x="${padding}" y="${y}" fill="${colour(line)}" xml:space="preserve">${escaped(line)}</text>`;
});

console.log(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="A boot of aiOS">
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${fontSize}">
${rows.join("\n")}
</g>
</svg>`);

function colour(line: string): string {
  if (/autonomous|completed/.test(line)) return "#7ee787";
  if (/phase \d\/\d/.test(line)) return "#79c0ff";
  if (/degraded|fault|failed/.test(line)) return "#ffa657";
  return "#c9d1d9";
}

function escaped(line: string): string {
  return line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
