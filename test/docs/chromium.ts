import type { Page } from 'playwright-core'
import type { Test } from 'tap'
import { startBrowser } from '../browser/helper.ts'
import { PATIENCE_MS } from '../interop/helper.ts'

/** A page in a real browser, and what it did. */
export interface OpenPage {
  readonly page: Page
  /** Addresses that it asked for, whether somebody answered or not. */
  readonly requests: readonly string[]
  /** Errors and warnings on its console, and exceptions that nobody caught. */
  readonly complaints: readonly string[]
}

/**
 * Opens an address in a browser of its own, which ends with the test.
 * @param files What the browser is given without asking anybody, by path.
 */
export async function openPage (t: Test, url: string, files: Readonly<Record<string, { contentType: string, body: string }>> = {}): Promise<OpenPage> {
  const browser = await startBrowser(t)
  const page = await browser.newPage()
  const requests: string[] = []
  const complaints: string[] = []
  page.setDefaultTimeout(PATIENCE_MS)
  page.on('request', (request) => requests.push(request.url()))
  page.on('console', (message) => /error|warning/.test(message.type()) && complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(String(error)))
  for (const [path, file] of Object.entries(files)) await page.route(new URL(path, url).href, (route) => route.fulfill(file))
  await page.goto(url)
  return { page, requests, complaints }
}
