package guest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/probe"
)

// TestUprobes loads the programs for TLS libraries and puts those for libraries in C into a file.
func TestUprobes(t *testing.T) {
	for _, hook := range []string{probe.HookSyscall, probe.HookSyscallOld} {
		p, err := probe.New(probe.Options{Hook: hook, Records: true})
		require.NoError(t, err, hook)
		defer p.Close()
		a, err := p.AttachPoints("/proc/self/exe", []probe.Point{
			{Program: "tls_return", Offset: 0x1000, Return: true}, {Program: "tls_read", Offset: 0x1000}, {Program: "tls_read_ex", Offset: 0x1000},
			{Program: "tls_write", Offset: 0x1000}, {Program: "tls_write_ex", Offset: 0x1000}, {Program: "tls_sendfile", Offset: 0x1000},
			{Program: "tls_handshake", Offset: 0x1000}, {Program: "tls_init", Offset: 0x1000}, {Program: "tls_free", Offset: 0x1000},
			{Program: "tls_new", Offset: 0x1000, Return: true},
		})
		require.NoError(t, err, hook)
		require.NoError(t, a.Close())
		require.True(t, p.Stats().Hooks["uprobe_tls"])
	}
}
