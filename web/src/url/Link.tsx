import type { AnchorHTMLAttributes, MouseEvent } from 'react'
import { type Change, navigate, urlTo, usePlace } from './location.ts'

interface Props extends Omit<AnchorHTMLAttributes<HTMLAnchorElement>, 'href'> {
  to: string
  with?: Change | undefined
}

/** A plain anchor that stays in the page on a plain click. The time range goes along. */
export function Link({ to, with: change, onClick, ...rest }: Props) {
  const { search } = usePlace()
  const href = urlTo(to, change, search)
  const click = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event)
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey
    if (event.defaultPrevented || !plain) return
    event.preventDefault()
    navigate(href)
    window.scrollTo(0, 0)
  }
  return <a {...rest} href={href} onClick={click} />
}
