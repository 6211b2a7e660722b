import { readFileSync, readdirSync } from 'node:fs'
import { root } from '../program.ts'

/** A fenced block of a page. */
export interface Block {
  readonly file: string
  readonly line: number
  /** The heading it stands under, without its `#`s. */
  readonly heading: string
  /** What stands behind the fence: `js`. */
  readonly kind: string
  readonly code: string
}

/** A table of a page, each row by the names of its columns. */
export interface Table {
  readonly heading: string
  readonly columns: readonly string[]
  readonly rows: ReadonlyArray<Readonly<Record<string, string>>>
}

/** Pages whose blocks are run: paths in the repository. */
export const pages: readonly string[] = [
  'README.md', ...readdirSync(`${root}docs`).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)
]

export function readPage (file: string): string {
  return readFileSync(root + file, 'utf8')
}

/** The fenced blocks of a page, in order. */
export function readBlocks (file: string): Block[] {
  const blocks: Block[] = []
  let heading = ''
  let open: { kind: string, line: number, code: string[] } | undefined
  for (const [index, text] of readPage(file).split('\n').entries()) {
    const fence = /^```(.*)$/.exec(text)
    if (fence !== null && open !== undefined) {
      blocks.push({ file, heading, kind: open.kind, line: open.line, code: open.code.join('\n') })
      open = undefined
    } else if (fence !== null) {
      open = { kind: String(fence[1]), line: index + 1, code: [] }
    } else if (open !== undefined) {
      open.code.push(text)
    } else {
      heading = /^#+ (.*)$/.exec(text)?.[1] ?? heading
    }
  }
  if (open !== undefined) throw new Error(`${file}: the block of line ${open.line} has no end`)
  return blocks
}

/** The tables of a page, in order. */
export function readTables (file: string): Table[] {
  const tables: Table[] = []
  const lines = withoutBlocks(readPage(file)).split('\n')
  let heading = ''
  for (let index = 0; index < lines.length; index++) {
    heading = /^#+ (.*)$/.exec(lines[index] ?? '')?.[1] ?? heading
    if (!/^\|(?:---\|)+$/.test(lines[index + 1] ?? '')) continue
    const columns = readRow(String(lines[index]))
    const rows: Array<Record<string, string>> = []
    for (index += 2; lines[index]?.startsWith('|') === true; index++) {
      const cells = readRow(String(lines[index]))
      if (cells.length !== columns.length) throw new Error(`${file}: ${cells.length} cells instead of ${columns.length}: ${lines[index]}`)
      rows.push(Object.fromEntries(columns.map((column, position) => [column, cells[position] ?? ''])))
    }
    tables.push({ heading, columns, rows })
  }
  return tables
}

/** Names that stand in code marks: those of "`HOST`, `PORT`" are HOST and PORT. */
export function namesIn (cell = ''): string[] {
  return Array.from(cell.matchAll(/`([^`]+)`/g), ([, name]) => String(name))
}

/** Anchors of a page, as GitHub makes them of its headings. */
export function anchorsOf (file: string): string[] {
  return Array.from(withoutBlocks(readPage(file)).matchAll(/^#+ (.*)$/gm),
    ([, heading]) => String(heading).toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
}

export function withoutBlocks (page: string): string {
  return page.replace(/^```[\s\S]*?^```$/gm, '')
}

function readRow (line: string): string[] {
  return line.replace(/^\|/, '').replace(/\|$/, '').split(/(?<!\\)\|/).map((cell) => cell.trim())
}
