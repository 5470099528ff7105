// The page's state lives in the URL. This is the one place that reads and writes it.
import { useCallback, useMemo, useSyncExternalStore } from 'react'

export interface Place {
  path: string
  search: string
}

type Listener = () => void
const listeners = new Set<Listener>()
let current: Place | null = null

function read(): Place {
  return { path: window.location.pathname, search: window.location.search }
}

function snapshot(): Place {
  return (current ??= read())
}

function publish() {
  const next = read()
  const last = snapshot()
  if (next.path === last.path && next.search === last.search) return
  current = next
  listeners.forEach((listener) => listener())
}

function subscribe(listener: Listener) {
  if (listeners.size === 0) window.addEventListener('popstate', publish)
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) window.removeEventListener('popstate', publish)
  }
}

/** Goes to a URL of this page. `replace` leaves no step in the history: for what a reader would not want to go back through. */
export function navigate(url: string, replace = false) {
  if (replace) window.history.replaceState(null, '', url)
  else window.history.pushState(null, '', url)
  publish()
}

export function usePlace(): Place {
  return useSyncExternalStore(subscribe, snapshot)
}

/** What to change: a string sets, a list repeats the key, null removes. */
export type Change = Record<string, string | readonly string[] | null>

export function applyChange(search: string, change: Change): string {
  const params = new URLSearchParams(search)
  for (const [key, value] of Object.entries(change)) {
    params.delete(key)
    if (typeof value === 'string') params.set(key, value)
    else value?.forEach((v) => params.append(key, v))
  }
  const text = readable(params.toString())
  return text ? `?${text}` : ''
}

/** Keeps what need not be escaped in a query as it is, so that shared links can be read. */
function readable(text: string): string {
  return text.replace(/%(2F|3A|2C|7E|40)/g, (code) => decodeURIComponent(code))
}

export interface UrlState {
  params: URLSearchParams
  set: (change: Change, options?: { replace?: boolean }) => void
}

export function useUrlState(): UrlState {
  const { search } = usePlace()
  const params = useMemo(() => new URLSearchParams(search), [search])
  const set = useCallback<UrlState['set']>((change, options) => {
    const next = applyChange(window.location.search, change)
    if (next === window.location.search) return
    navigate(window.location.pathname + next + window.location.hash, options?.replace)
  }, [])
  return { params, set }
}

// What a link to another page takes along: the time range and how often it refreshes.
const SHARED = ['range', 'from', 'to', 'refresh'] as const

/** The URL of another page with the present time range. */
export function urlTo(path: string, change: Change = {}, search = window.location.search): string {
  const now = new URLSearchParams(search)
  const shared: Change = {}
  for (const key of SHARED) shared[key] = now.get(key)
  return path + applyChange('', { ...shared, ...change })
}
