/** The flower: also in icon.svg. */
export function Logo({ size = 20 }: { size?: number }) {
  return (
    <svg viewBox="0 0 24 24" width={size} height={size} fill="none" stroke="currentColor" strokeWidth="2.2" strokeLinecap="round" aria-hidden="true">
      <path d="M12 22V9" />
      <path d="M12 17c-5 0-8-3-8-7 5 0 8 3 8 7Z" fill="currentColor" fillOpacity=".3" />
      <path d="M12 13c5 0 8-3 8-7-5 0-8 3-8 7Z" fill="currentColor" fillOpacity=".3" />
      <circle cx="12" cy="5" r="2.6" fill="currentColor" />
    </svg>
  )
}
