import type { Health } from '../api/types.ts'

/** The colours of the canvas, read from the page's CSS variables. */
export interface Palette {
  bg: string
  surface: string
  raised: string
  line: string
  text: string
  muted: string
  accent: string
  accentSoft: string
  edge: string
  health: Record<Health, string>
  soft: Record<Health, string>
  font: string
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement)
  const v = (name: string) => style.getPropertyValue(`--${name}`).trim()
  return {
    bg: v('bg'), surface: v('surface'), raised: v('raised'), line: v('line-strong'), text: v('text'), muted: v('muted'),
    accent: v('accent'), accentSoft: v('accent-soft'), edge: v('edge'),
    health: { ok: v('ok'), warning: v('warning-fill'), critical: v('critical'), idle: v('idle') },
    soft: { ok: v('surface'), warning: v('warning-soft'), critical: v('critical-soft'), idle: v('surface') },
    font: v('mantine-font-family') || 'sans-serif',
  }
}
