// Lighthouse over pages of a running gateway: reads [{name, url, cookies, preset}] from standard input, writes one line of JSON a page.
import { launch } from "chrome-launcher";
import lighthouse, { desktopConfig } from "lighthouse";
import { text } from "node:stream/consumers";
import puppeteer from "puppeteer-core";

const pages = JSON.parse(await text(process.stdin));
const chrome = await launch({ chromePath: process.env.CHROME_PATH, chromeFlags: ["--headless=new", "--no-sandbox", "--disable-gpu"] });
const browser = await puppeteer.connect({ browserURL: `http://127.0.0.1:${chrome.port}`, defaultViewport: null });
try {
  for (const page of pages) {
    // A profile of its own, with the session in its cookie jar: Chromium takes no Cookie header from Lighthouse's extraHeaders.
    const profile = await browser.createBrowserContext();
    const tab = await profile.newPage();
    for (const [name, value] of Object.entries(page.cookies)) await tab.setCookie({ name, value, url: page.url, httpOnly: true, sameSite: "Lax" });
    const options = {
      onlyCategories: ["performance", "accessibility", "best-practices"],
      disableStorageReset: true, // it would sign out
      logLevel: "error",
    };
    const { lhr } = await lighthouse(page.url, options, page.preset === "desktop" ? desktopConfig : undefined, tab);
    const scores = Object.fromEntries(Object.entries(lhr.categories).map(([name, category]) => [name, Math.round((category.score ?? 0) * 100)]));
    const missed = Object.values(lhr.categories).flatMap((category) =>
      category.auditRefs
        .filter((ref) => ref.weight > 0 && lhr.audits[ref.id].score !== null && lhr.audits[ref.id].score < 0.9)
        .map((ref) => `${ref.id}: ${lhr.audits[ref.id].displayValue ?? lhr.audits[ref.id].title}`),
    );
    console.log(JSON.stringify({ ...page, cookies: undefined, final: lhr.finalDisplayedUrl, scores, missed }));
    await profile.close();
  }
} finally {
  await browser.disconnect();
  await chrome.kill();
}
