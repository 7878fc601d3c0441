// Opens the HTML report $1 in a real Chromium: as a desktop, a phone, in the dark, and without script. Screenshots go to
// the folder $2. Prints what is wrong, as JSON: errors of the page, what axe finds, whether it is too wide, whether
// something was fetched, and what the filters do.
const fs = require("fs");
const path = require("path");
const root = process.env.IMGLINT_TEST_VALIDATORS;
const puppeteer = require(path.join(root, "node_modules/puppeteer-core"));
const axe = fs.readFileSync(path.join(root, "node_modules/axe-core/axe.min.js"), "utf8");

(async () => {
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  const wrong = [];
  const views = [["desktop", 1280, 900, "light", true], ["phone", 390, 844, "light", true], ["dark", 1280, 900, "dark", true], ["plain", 1280, 900, "light", false]];
  for (const [name, width, height, scheme, script] of views) {
    const page = await browser.newPage();
    await page.setJavaScriptEnabled(script);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.setViewport({ width, height });
    const say = (what) => wrong.push(`${name}: ${what}`);
    page.on("console", (message) => say(message.text()));
    page.on("pageerror", (error) => say(String(error)));
    page.on("request", (request) => request.url().startsWith("file:") || say(`fetched ${request.url()}`));
    await page.goto("file://" + path.resolve(process.argv[2]));
    await page.screenshot({ path: path.join(process.argv[3], `${name}.png`) });
    if (!script) {
      // Reading needs no script, and what does needs is not there.
      const seen = await (await page.$("main")).evaluate((main) => main.innerText);
      if (!seen.includes("To mend it")) say("findings cannot be read");
      if (await (await page.$("#filters")).isVisible()) say("filters that do nothing are shown");
      continue;
    }
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1)) say("wider than the screen");
    const count = () => page.evaluate(() => [...document.querySelectorAll("[data-rule]")].filter((one) => one.checkVisibility()).length);
    const all = await count();
    await page.select("#rule", "entrypoint-defined");
    if ((await count()) >= all || (await count()) === 0) say("the filter by rule does not filter");
    await page.select("#rule", "");
    if ((await count()) !== all) say("the filter cannot be taken back");
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run());
    found.violations.forEach((one) => say(`${one.id}: ${one.nodes[0].html.slice(0, 200)}`));
  }
  await browser.close();
  console.log(JSON.stringify(wrong));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
