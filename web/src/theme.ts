import { createTheme, type MantineColorsTuple } from '@mantine/core'

// The colour of the vetch flower.
const vetch: MantineColorsTuple = [
  '#f3effd', '#e3dbf8', '#c6b5f0', '#a78de8', '#8d6be1', '#7c55dd', '#6a42cf', '#5a37b4', '#4e30a0', '#41278a',
]

// Mantine's own dark surfaces in the hue of ours (styles.css).
const dark: MantineColorsTuple = [
  '#e6e9ee', '#c9ced6', '#9aa4b2', '#7b8594', '#3d4553', '#2a303c', '#1e232d', '#181c24', '#101319', '#0b0d12',
]

export const theme = createTheme({
  colors: { vetch, dark },
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
