import { useRef } from 'react'

/** The same array as last time while its elements are the same ones, for what depends on a list that is made anew at each render. */
export function useSame<T>(list: readonly T[]): readonly T[] {
  const last = useRef(list)
  const same = list.length === last.current.length && list.every((v, i) => v === last.current[i])
  if (!same) last.current = list
  return last.current
}
