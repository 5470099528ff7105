import { ActionIcon, Tooltip } from '@mantine/core'
import { Icon, type IconName } from './Icon.tsx'

interface Props {
  icon: IconName
  label: string
  onClick: () => void
  pressed?: boolean
  disabled?: boolean
}

/** A button that is only an icon; its label is its name and its tooltip. */
export function IconButton({ icon, label, onClick, pressed, disabled }: Props) {
  return (
    <Tooltip label={label}>
      <ActionIcon variant={pressed ? 'light' : 'default'} size={28} aria-label={label} aria-pressed={pressed}
        onClick={onClick} disabled={disabled ?? false}>
        <Icon name={icon} />
      </ActionIcon>
    </Tooltip>
  )
}
