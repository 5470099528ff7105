const PATHS = {
  left: 'M10 3 5 8l5 5',
  right: 'm6 3 5 5-5 5',
  down: 'm3.5 6 4.5 4.5L12.5 6',
  zoomOut: 'M11 11l3.5 3.5M4.5 7h5M7 12.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11Z',
  refresh: 'M13.5 8a5.5 5.5 0 1 1-1.6-3.9M13.5 1.5v3.2h-3.2',
  clock: 'M8 4.2V8l2.6 1.6M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z',
  sun: 'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9 13 13M13 3l-1.1 1.1M4.1 11.9 3 13',
  moon: 'M13.5 9.6A6 6 0 0 1 6.4 2.5 6 6 0 1 0 13.5 9.6Z',
  auto: 'M2 3h12v8H2ZM5.5 14h5M8 11v3',
  search: 'm10.5 10.5 4 4M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Z',
  close: 'm4 4 8 8M12 4l-8 8',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  fit: 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4',
  link: 'M7 9.5a3 3 0 0 0 4.2 0l2-2A3 3 0 0 0 9 3.3l-.7.7M9 6.5a3 3 0 0 0-4.2 0l-2 2A3 3 0 0 0 7 12.7l.7-.7',
  group: 'M2 2h5v5H2ZM9 9h5v5H9ZM9 4.5h2.5V7M7 11.5H4.5V9',
} as const

export type IconName = keyof typeof PATHS

/** A line drawing of 16 px in the text's colour. Its meaning must be said beside it. */
export function Icon({ name, size = 15 }: { name: IconName; size?: number }) {
  return (
    <svg viewBox="0 0 16 16" width={size} height={size} fill="none" stroke="currentColor" strokeWidth="1.5"
      strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}
