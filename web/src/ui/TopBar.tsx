import { NativeSelect, Tooltip, useMantineColorScheme } from '@mantine/core'
import { useIsFetching, useQueryClient } from '@tanstack/react-query'
import { useStatus } from '../api/hooks.ts'
import { compact } from '../format/number.ts'
import { Search } from '../search/Search.tsx'
import { TimePicker } from '../time/TimePicker.tsx'
import { REFRESH_CHOICES, useTimeRange } from '../time/useTimeRange.ts'
import { Link } from '../url/Link.tsx'
import { usePlace } from '../url/location.ts'
import type { IconName } from './Icon.tsx'
import { IconButton } from './IconButton.tsx'
import { Logo } from './Logo.tsx'
import styles from './TopBar.module.css'

// Each with the pages of one thing that belong to it.
const PAGES = [
  ['/', 'Overview', '/workload'], ['/map', 'Map'], ['/namespaces', 'Namespaces', '/namespace'], ['/pods', 'Pods', '/pod'], ['/nodes', 'Nodes', '/node'],
  ['/events', 'Events'], ['/query', 'Query'],
] as const

export function TopBar() {
  const { path } = usePlace()
  return (
    <header className={styles.bar}>
      <a className={styles.skip} href="#main">Skip to the content</a>
      <Link to="/" className={styles.brand} aria-label="vetch, overview"><Logo />vetch</Link>
      <nav className={styles.nav} aria-label="Pages">
        {PAGES.map(([to, name, one]) => (
          <Link key={to} to={to} aria-current={path === to ? 'page' : path === one ? 'true' : undefined}>{name}</Link>
        ))}
      </nav>
      <ServerState />
      <div className={styles.tools}>
        <Search />
        <TimePicker />
        <Refresh />
        <SchemeToggle />
      </div>
    </header>
  )
}

/** Says so when the server is away, not ready, or could not count something. */
function ServerState() {
  const { data, isError } = useStatus()
  if (isError) return <span className={styles.state} data-bad role="status">server does not answer</span>
  if (!data) return <span className={styles.state} />
  if (!data.ready) return <span className={styles.state} data-bad role="status">starting…</span>
  const lost = Object.entries(data.losses).filter(([, n]) => n > 0)
  if (lost.length === 0) return <span className={styles.state} />
  const total = lost.reduce((sum, [, n]) => sum + n, 0)
  return (
    <Tooltip multiline maw={360} label={lost.map(([reason, n]) => `${reason.replaceAll('_', ' ')}: ${compact(n)}`).join(' · ')}>
      <span className={styles.state} role="status" tabIndex={0} data-warn>{compact(total)} not counted</span>
    </Tooltip>
  )
}

function Refresh() {
  const { range, refresh, setRefresh } = useTimeRange()
  const client = useQueryClient()
  const busy = useIsFetching({ predicate: (q) => q.queryKey[0] !== 'status' }) > 0
  const still = range.kind === 'absolute'
  return (
    <div className={styles.refresh} data-busy={busy}>
      <IconButton icon="refresh" label="Refresh now" onClick={() => void client.invalidateQueries()} />
      <NativeSelect aria-label="Refresh every" value={still ? 'off' : refresh} disabled={still} w={76}
        title={still ? 'An absolute range does not change' : undefined}
        data={REFRESH_CHOICES.map((value) => ({ value, label: value === 'off' ? 'off' : value }))}
        onChange={(event) => setRefresh(event.currentTarget.value)} styles={{ input: { height: 28, minHeight: 28 } }} />
    </div>
  )
}

const SCHEMES = { auto: ['auto', 'light', 'Colours: as the system. Change to light'], light: ['sun', 'dark', 'Colours: light. Change to dark'], dark: ['moon', 'auto', 'Colours: dark. Change to as the system'] } as const

function SchemeToggle() {
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  const [icon, next, label] = SCHEMES[colorScheme]
  return <IconButton icon={icon as IconName} label={label} onClick={() => setColorScheme(next)} />
}
