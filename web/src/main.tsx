import { localStorageColorSchemeManager, MantineProvider } from '@mantine/core'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { ApiError } from './api/client.ts'
import { App } from './App.tsx'
import './mantine.css'
import './styles.css'
import { theme } from './theme.ts'

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2000,
      // A wrong question stays wrong; only a silent or broken server is asked again.
      retry: (count, error) => count < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 500),
      retryDelay: 1000,
      refetchOnWindowFocus: false,
    },
  },
})

// After an upgrade of the server an open page asks for parts that are gone. Loading it anew helps, unless that was just done.
const RELOADED = 'vetch-reloaded'
window.addEventListener('vite:preloadError', () => {
  if (Date.now() - Number(sessionStorage.getItem(RELOADED) ?? 0) < 30_000) return
  sessionStorage.setItem(RELOADED, String(Date.now()))
  window.location.reload()
})

const schemes = localStorageColorSchemeManager({ key: 'vetch-colours' })

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto" colorSchemeManager={schemes}>
      <QueryClientProvider client={client}>
        <App />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
)
