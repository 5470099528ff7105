import { lazy, Suspense } from 'react'
import { OverviewPage } from './overview/OverviewPage.tsx'
import { ErrorBoundary } from './ui/ErrorBoundary.tsx'
import { Empty } from './ui/States.tsx'
import { TopBar } from './ui/TopBar.tsx'
import { Link } from './url/Link.tsx'
import { usePlace } from './url/location.ts'
import styles from './App.module.css'

const MapPage = lazy(() => import('./map/MapPage.tsx'))
const WorkloadPage = lazy(() => import('./workload/WorkloadPage.tsx'))
const EventsPage = lazy(() => import('./events/EventsPage.tsx'))
const NamespacesPage = lazy(() => import('./inventory/NamespacesPage.tsx'))
const NamespacePage = lazy(() => import('./inventory/NamespacePage.tsx'))
const NodesPage = lazy(() => import('./inventory/NodesPage.tsx'))
const NodePage = lazy(() => import('./inventory/NodePage.tsx'))
const PodsPage = lazy(() => import('./inventory/PodsPage.tsx'))
const PodPage = lazy(() => import('./inventory/PodPage.tsx'))
const QueryPage = lazy(() => import('./query/QueryPage.tsx'))

function Page({ path }: { path: string }) {
  switch (path) {
    case '/': return <OverviewPage />
    case '/map': return <MapPage />
    case '/workload': return <WorkloadPage />
    case '/namespaces': return <NamespacesPage />
    case '/namespace': return <NamespacePage />
    case '/nodes': return <NodesPage />
    case '/node': return <NodePage />
    case '/pods': return <PodsPage />
    case '/pod': return <PodPage />
    case '/events': return <EventsPage />
    case '/query': return <QueryPage />
  }
  return <Empty title="There is no such page"><p><Link to="/">To the overview</Link></p></Empty>
}

export function App() {
  const { path } = usePlace()
  return (
    <div className={styles.app}>
      <TopBar />
      <main id="main" className={styles.main}>
        <ErrorBoundary key={path}>
          <Suspense fallback={null}><Page path={path} /></Suspense>
        </ErrorBoundary>
      </main>
    </div>
  )
}
