package main

import (
	"fmt"
	"strings"
)

// row is one figure with its budget.
type row struct {
	what, figure, budget, verdict, command string
}

// page is docs/benchmarks.md as it grows.
type page struct {
	machine string
	rows    []row
	notes   []string
	missing []string
}

// below adds a figure that must not exceed its budget; above one that must reach it. format is for both, with its unit.
func (p *page) below(what string, figure, budget float64, format, command string) {
	verdict := "met"
	if figure > budget {
		verdict = fmt.Sprintf("**missed by %.0f %%**", (figure/budget-1)*100)
	}
	p.rows = append(p.rows, row{what, fmt.Sprintf(format, figure), "<= " + fmt.Sprintf(format, budget), verdict, command})
}

func (p *page) above(what string, figure, budget float64, format, command string) {
	verdict := "met"
	if figure < budget {
		verdict = fmt.Sprintf("**missed by %.0f %%**", (1-figure/budget)*100)
	}
	p.rows = append(p.rows, row{what, fmt.Sprintf(format, figure), ">= " + fmt.Sprintf(format, budget), verdict, command})
}

// plain adds a figure without a budget.
func (p *page) plain(what, figure, command string) {
	p.rows = append(p.rows, row{what, figure, "", "", command})
}

func (p *page) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

func (p *page) text() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench` (`go run ./test/load`); do not edit. Budgets are those of the design. On a machine that does other work at the same time\n" +
		"take ratios and CPU for one operation, not absolute rates.\n\n")
	b.WriteString(p.machine + "\n\n")
	b.WriteString("| what | figure | budget | | command |\n|---|---|---|---|---|\n")
	for _, r := range p.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | `%s` |\n", r.what, r.figure, r.budget, r.verdict, r.command)
	}
	for _, m := range p.missing {
		fmt.Fprintf(&b, "\n**Not measured:** %s\n", strings.ReplaceAll(strings.TrimSpace(m), "\n", " "))
	}
	for _, n := range p.notes {
		b.WriteString("\n" + n + "\n")
	}
	return b.String()
}
