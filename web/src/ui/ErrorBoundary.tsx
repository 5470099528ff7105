import { Component, type ReactNode } from 'react'
import { Failure } from './States.tsx'

interface State {
  error: unknown
}

/** Keeps a fault in one page from taking the whole page down. */
export class ErrorBoundary extends Component<{ children: ReactNode }, State> {
  override state: State = { error: null }

  static getDerivedStateFromError(error: unknown): State {
    return { error }
  }

  override render() {
    if (this.state.error === null) return this.props.children
    return (
      <div style={{ padding: '1rem' }}>
        <Failure error={this.state.error} retry={() => this.setState({ error: null })} />
      </div>
    )
  }
}
