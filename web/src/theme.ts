import { createTheme, type MantineColorsTuple } from '@mantine/core'

// The colour of the vetch flower.
const vetch: MantineColorsTuple = [
  '#f3effd', '#e3dbf8', '#c6b5f0', '#a78de8', '#8d6be1', '#7c55dd', '#6a42cf', '#5a37b4', '#4e30a0', '#41278a',
]

export const theme = createTheme({
  colors: { vetch },
  primaryColor: 'vetch',
  primaryShade: { light: 6, dark: 4 },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, "JetBrains Mono", "DejaVu Sans Mono", Menlo, monospace',
  defaultRadius: 'sm',
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.25rem' },
  components: {
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true } },
    TextInput: { defaultProps: { size: 'xs' } },
    NativeSelect: { defaultProps: { size: 'xs' } },
    Button: { defaultProps: { size: 'xs' } },
    SegmentedControl: { defaultProps: { size: 'xs' } },
  },
})
