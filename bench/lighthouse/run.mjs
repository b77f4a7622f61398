// Lighthouse over pages of a running gateway: reads [{name, url, cookie, preset}] from standard input, writes one line of JSON a page.
import { launch } from "chrome-launcher";
import lighthouse, { desktopConfig } from "lighthouse";
import { text } from "node:stream/consumers";

const pages = JSON.parse(await text(process.stdin));
const chrome = await launch({ chromePath: process.env.CHROME_PATH, chromeFlags: ["--headless=new", "--no-sandbox", "--disable-gpu"] });
try {
  for (const page of pages) {
    const options = {
      port: chrome.port,
      onlyCategories: ["performance", "accessibility", "best-practices"],
      extraHeaders: page.cookie ? { Cookie: page.cookie } : undefined,
      disableStorageReset: true,
      logLevel: "error",
    };
    const { lhr } = await lighthouse(page.url, options, page.preset === "desktop" ? desktopConfig : undefined);
    const scores = Object.fromEntries(Object.entries(lhr.categories).map(([name, category]) => [name, Math.round((category.score ?? 0) * 100)]));
    const missed = Object.values(lhr.categories).flatMap((category) =>
      category.auditRefs
        .filter((ref) => ref.weight > 0 && lhr.audits[ref.id].score !== null && lhr.audits[ref.id].score < 0.9)
        .map((ref) => `${ref.id}: ${lhr.audits[ref.id].displayValue ?? lhr.audits[ref.id].title}`),
    );
    console.log(JSON.stringify({ ...page, cookie: undefined, final: lhr.finalDisplayedUrl, scores, missed }));
  }
} finally {
  await chrome.kill();
}
