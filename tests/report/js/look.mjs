// Opens pages in Chromium at several widths and schemes, and tells what it saw as JSON.
// Usage: node look.mjs CHROMIUM OUT URL…
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [executablePath, out, ...urls] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const views = [
  { name: "phone", width: 390, colorScheme: "dark" },
  { name: "desk", width: 1280, colorScheme: "light" },
];

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const seen = [];
for (const url of urls) {
  for (const view of views) {
    const context = await browser.newContext({
      viewport: { width: view.width, height: 900 },
      colorScheme: view.colorScheme,
    });
    const page = await context.newPage();
    const errors = [];
    page.on("console", (said) => said.type() === "error" && errors.push(said.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("requestfailed", (request) => errors.push(`not loaded: ${request.url()}`));
    const began = Date.now();
    await page.goto(url);
    const milliseconds = Date.now() - began;
    const scrollWidth = await page.evaluate(() => document.documentElement.scrollWidth);
    await page.evaluate(axe); // past the page's policy, which lets no script in
    const { violations } = await page.evaluate(() => window.axe.run(document));
    const name = `${new URL(url).pathname.split("/").slice(-2).join("-")}-${view.name}.png`;
    await page.screenshot({ path: `${out}/${name}`, fullPage: false });
    seen.push({
      url, view: view.name, width: view.width, scrollWidth, milliseconds, errors,
      violations: violations.map(({ id, impact, nodes }) => ({
        id, impact, nodes: nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`),
      })),
    });
    await context.close();
  }
}
await browser.close();
console.log(JSON.stringify(seen));
