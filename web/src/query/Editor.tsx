import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap, completionStatus, moveCompletionSelection, selectedCompletionIndex } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from '@codemirror/commands'
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { lintKeymap } from '@codemirror/lint'
import { EditorState, Prec } from '@codemirror/state'
import { EditorView, keymap, placeholder } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { PromQLExtension } from '@prometheus-io/codemirror-promql'
import { useEffect, useRef } from 'react'

interface Props {
  label: string
  value: string
  onChange: (text: string) => void
  onRun: () => void
}

// Colours come from the page's CSS variables, so both schemes have one style.
const highlight = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--series-3)', fontWeight: '600' },
  { tag: [tags.function(tags.variableName), tags.standard(tags.variableName)], color: 'var(--series-0)' },
  { tag: tags.labelName, color: 'var(--series-1)' },
  { tag: tags.string, color: 'var(--series-2)' },
  { tag: [tags.number, tags.integer, tags.float], color: 'var(--series-5)' },
  { tag: tags.comment, color: 'var(--muted)', fontStyle: 'italic' },
  { tag: tags.modifier, color: 'var(--series-3)' },
  { tag: tags.operator, color: 'var(--muted)' },
])

const look = EditorView.theme({
  '&': { backgroundColor: 'var(--surface)', color: 'var(--text)', border: '1px solid var(--line-strong)', borderRadius: '4px', fontSize: '0.8125rem' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-1px' },
  '.cm-content': { fontFamily: 'var(--mantine-font-family-monospace)', padding: '5px 0', caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-placeholder': { color: 'var(--muted)' },
  '&.cm-focused .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--accent-soft) !important' },
  '.cm-matchingBracket': { backgroundColor: 'var(--accent-soft) !important', outline: '1px solid var(--accent)' },
  '.cm-tooltip': { backgroundColor: 'var(--surface)', border: '1px solid var(--line-strong)', color: 'var(--text)', borderRadius: '4px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--surface)' },
  '.cm-completionDetail': { color: 'var(--muted)', fontStyle: 'normal', marginLeft: '1em' },
  '.cm-completionIcon': { display: 'none' },
  '.cm-tooltip.cm-completionInfo': { padding: '0.4rem 0.6rem', maxWidth: '24rem' },
})

/** Tab takes the completion that is chosen, or the first one; without a list it leaves the editor as everywhere on the page. */
function takeCompletion(view: EditorView): boolean {
  if (completionStatus(view.state) !== 'active') return false
  if (selectedCompletionIndex(view.state) === null) moveCompletionSelection(true)(view)
  return acceptCompletion(view)
}

/**
 * A PromQL editor that completes metrics, labels, values and functions from the server's own API. Enter runs, unless a completion was
 * chosen by the arrow keys; Shift+Enter makes a new line.
 */
export default function Editor({ label, value, onChange, onRun }: Props) {
  const box = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView | null>(null)
  const latest = useRef({ onChange, onRun })
  latest.current = { onChange, onRun }

  useEffect(() => {
    const promql = new PromQLExtension().setComplete({ remote: { url: '', httpMethod: 'GET' } })
    const run = (view: EditorView) => {
      closeCompletion(view)
      latest.current.onRun()
      return true
    }
    const made = new EditorView({
      parent: box.current!,
      state: EditorState.create({
        doc: value,
        extensions: [
          promql.asExtension(), autocompletion({ selectOnOpen: false, defaultKeymap: false }), closeBrackets(), bracketMatching(), history(), EditorView.lineWrapping,
          syntaxHighlighting(highlight), look, placeholder('PromQL, for example: sum by (workload) (rate(vetch_workload_requests_total[1m]))'),
          EditorView.contentAttributes.of({ 'aria-label': label }),
          keymap.of([...completionKeymap, { key: 'Tab', run: takeCompletion }, { key: 'Enter', run, shift: insertNewlineAndIndent }, { key: 'Mod-Enter', run }]),
          Prec.low(keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...lintKeymap])),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString())
            if (update.focusChanged && !update.view.hasFocus) closeCompletion(update.view)
          }),
        ],
      }),
    })
    view.current = made
    return () => made.destroy()
  }, [label]) // later values are put in below

  useEffect(() => {
    const now = view.current
    if (now && now.state.doc.toString() !== value) now.dispatch({ changes: { from: 0, to: now.state.doc.length, insert: value } })
  }, [value])
  return <div ref={box} style={{ minWidth: 0 }} />
}
