import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'
import { fixtureServer } from './dev/server.ts'

// VETCH_ADDR=http://127.0.0.1:4780 npm run dev   works against a running vetch; without it, generated data is served.
const backend = process.env.VETCH_ADDR

export default defineConfig({
  plugins: [react(), ...(backend ? [] : [fixtureServer()])],
  server: backend ? { proxy: { '/api': backend } } : {},
  build: {
    target: 'es2022',
    sourcemap: false,
    // The licences of what is bundled stay in the files of node_modules; dist/licenses.txt lists them.
    license: { fileName: 'licenses.md' },
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  test: { environment: 'node', include: ['src/**/*.test.{ts,tsx}', 'dev/**/*.test.ts'] },
})
