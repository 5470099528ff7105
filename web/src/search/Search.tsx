import { Modal, TextInput } from '@mantine/core'
import { type KeyboardEvent, useEffect, useId, useMemo, useState } from 'react'
import { useNamespaces, useNodes, usePods, useWorkloads } from '../api/hooks.ts'
import { Icon } from '../ui/Icon.tsx'
import { IconButton } from '../ui/IconButton.tsx'
import { apart } from '../ui/ids.ts'
import { navigate, urlTo } from '../url/location.ts'
import { find, type Place, placesOf } from './search.ts'
import styles from './Search.module.css'

const NO_FILTER = {}

/** A button, and Ctrl+K or Cmd+K anywhere: goes to a workload, a pod, a namespace, a node or a page by name. */
export function Search() {
  const [open, setOpen] = useState(false)
  useEffect(() => {
    const keys = (event: globalThis.KeyboardEvent) => {
      if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return
      event.preventDefault()
      setOpen((was) => !was)
    }
    document.addEventListener('keydown', keys)
    return () => document.removeEventListener('keydown', keys)
  }, [])
  return (
    <>
      <IconButton icon="search" label="Go to (Ctrl+K)" onClick={() => setOpen(true)} />
      {open && (
        <Modal.Root opened onClose={() => setOpen(false)} padding={0} size="lg" yOffset="12vh" transitionProps={{ duration: 0 }}>
          <Modal.Overlay />
          <Modal.Content aria-label="Go to"><Finder close={() => setOpen(false)} /></Modal.Content>
        </Modal.Root>
      )}
    </>
  )
}

function Finder({ close }: { close: () => void }) {
  const [text, setText] = useState('')
  const [chosen, setChosen] = useState(0)
  const workloads = useWorkloads().data?.workloads
  const namespaces = useNamespaces().data?.namespaces
  const nodes = useNodes().data?.nodes
  const pods = usePods(NO_FILTER).data?.pods
  const all = useMemo(
    () => placesOf({ workloads: workloads ?? [], namespaces: namespaces ?? [], nodes: nodes ?? [], pods: apart(pods ?? []) }),
    [workloads, namespaces, nodes, pods],
  )
  const found = useMemo(() => find(all, text), [all, text])
  const list = useId()
  const at = Math.min(chosen, found.length - 1)
  const go = (place: Place | undefined) => {
    if (!place) return
    close()
    navigate(urlTo(place.to, place.with))
    window.scrollTo(0, 0)
  }
  const keys = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (step !== undefined && found.length > 0) setChosen((at + step + found.length) % found.length)
    else if (event.key === 'Enter') go(found[at])
    else return
    event.preventDefault()
  }
  return (
    <div className={styles.finder}>
      <TextInput data-autofocus size="md" variant="unstyled" className={styles.field} leftSection={<Icon name="search" />} placeholder="Workload, pod, namespace, node or page" value={text}
        role="combobox" aria-label="Go to" aria-expanded aria-controls={list} aria-activedescendant={at >= 0 ? `${list}-${at}` : undefined} autoComplete="off"
        onChange={(event) => {
          setText(event.currentTarget.value)
          setChosen(0)
        }} onKeyDown={keys} />
      <ul id={list} role="listbox" aria-label="Places" className={styles.list}>
        {found.map((place, i) => (
          <li key={place.key} id={`${list}-${i}`} role="option" aria-selected={i === at} ref={i === at ? intoView : undefined} onMouseMove={() => setChosen(i)} onClick={() => go(place)}>
            <span>{place.title}</span> <small>{place.kind}</small>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className={styles.none} role="status">Nothing seen in this time range goes by that name.</p>}
    </div>
  )
}

const intoView = (element: HTMLElement | null) => element?.scrollIntoView({ block: 'nearest' })
