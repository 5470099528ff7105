package java

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Why a JVM's TLS cannot be seen.
var (
	errGone       = errors.New("the process is gone")
	errNotChosen  = errors.New("agent.tls.java does not name it")
	errNotLoaded  = errors.New("vetch run has not attached to it, or could not: vetch_tls_java_failures_total tells why")
	errTooMany    = errors.New("there are too many JVMs")
	errNotHotSpot = errors.New("it is not HotSpot, or not of this machine's architecture")
	errDisabled   = errors.New("it is not to be attached to: -XX:+DisableAttachMechanism")
	errNoAgents   = errors.New("it takes no agents while it runs: -XX:-EnableDynamicAgentLoading")
	errNoSignal   = errors.New("it does not take the signal that asks for an attachment: -Xrs, or it has not begun")
	errTmp        = errors.New("its /tmp is not a folder that it can write and others cannot change it in")
	errNoExec     = errors.New("nothing in its /tmp may be run (noexec)")
	errPrivilege  = errors.New("vetch may not act as the user of the JVM: CAP_SETUID and CAP_SETGID")
	errProbes     = errors.New("the kernel does not let the library be probed")
	errSilent     = errors.New("it does not answer in time")
	errPeer       = errors.New("somebody else answers in its place")
	errAnswer     = errors.New("its answer cannot be read")
	errRefused    = errors.New("it refuses to attach")
	errLibrary    = errors.New("it cannot load the library")
	errEarly      = errors.New("it has not begun")
	errAlready    = errors.New("it has the library already")
	errVersion    = errors.New("it has the library of another version of vetch: restart it")
	errJSSE       = errors.New("its TLS is not as this version of vetch knows it")
)

type reason struct {
	err  error
	name string
}

// reasons are the values of the label "reason", the more telling first.
func reasons() []reason {
	return []reason{
		{errTooMany, "too_many"}, {errNotHotSpot, "not_hotspot"}, {errDisabled, "attach_disabled"}, {errNoAgents, "agents_disabled"},
		{errNoSignal, "no_signal"}, {errTmp, "tmp"}, {errNoExec, "noexec"}, {errPrivilege, "privilege"}, {errProbes, "probes"},
		{errSilent, "timeout"}, {errPeer, "peer"}, {errAnswer, "answer"}, {errRefused, "refused"}, {errLibrary, "library"},
		{errEarly, "early"}, {errVersion, "other_version"}, {errJSSE, "jsse"}, {errAlready, "already"},
	}
}

// other stands for what has no reason of its own.
var other = reason{name: "other"}

func reasonOf(err error) string {
	all := reasons()
	if i := slices.IndexFunc(all, func(r reason) bool { return errors.Is(err, r.err) }); i >= 0 {
		return all[i].name
	}
	return other.name
}

const maxAnswer = 16 << 10 // bytes of an answer that are read

// What Agent_OnAttach of inside/library.c returns.
const (
	resultEarly      = 200
	resultAlready    = 201
	resultNotChanged = 208
)

// readAnswer judges the answer to the command "load" of HotSpot's attach protocol (src/hotspot/share/services/attachListener.cpp): a line
// with 0 when the command was understood, and lines that say how it went: "return code: 0" since Java 9, "0" before, or text.
func readAnswer(answer []byte) error {
	first, rest, _ := strings.Cut(string(answer[:min(len(answer), maxAnswer)]), "\n")
	status, err := strconv.ParseInt(strings.TrimSpace(first), 10, 32)
	if err != nil {
		return fmt.Errorf("%w: it begins with %.40q", errAnswer, first)
	}
	rest = strings.TrimSpace(rest)
	line, _, _ := strings.Cut(rest, "\n")
	if strings.Contains(rest, "Dynamic agent loading is not enabled") {
		return errNoAgents
	}
	if status != 0 {
		return fmt.Errorf("%w: %d, %.200q", errRefused, status, line)
	}
	code, err := strconv.ParseInt(strings.TrimPrefix(line, "return code: "), 10, 32)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %.200q", errLibrary, rest)
	case code == 0:
		return nil
	case code == resultEarly:
		return errEarly
	case code == resultAlready:
		return errAlready
	case code > resultAlready && code <= resultNotChanged:
		return fmt.Errorf("%w: result %d", errJSSE, code)
	}
	return fmt.Errorf("%w: result %d", errLibrary, code)
}
