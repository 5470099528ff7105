// Runs a hook in a component of its own, for tests.
import { act } from 'react'
import { createRoot } from 'react-dom/client'

declare global {
  var IS_REACT_ACT_ENVIRONMENT: boolean
}
globalThis.IS_REACT_ACT_ENVIRONMENT = true

export { act }

export function renderHook<T>(hook: () => T): { readonly current: T; unmount: () => void } {
  const out = { current: undefined as T, unmount: () => act(() => root.unmount()) }
  const Probe = () => {
    out.current = hook()
    return null
  }
  const root = createRoot(document.createElement('div'))
  act(() => root.render(<Probe />))
  return out
}
