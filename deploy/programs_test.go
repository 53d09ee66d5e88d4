// Package deploy_test holds together what is deployed and what the programs
// are: a flag, a variable or a file that is renamed in one place only fails here.
package deploy_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const top = ".."

// program is what a program of ours takes from outside, by its sources and
// those of the packages it is made of: this builds nothing.
type program struct {
	flags     map[string]bool // without the dashes; those of subcommands too
	variables map[string]bool // of the environment
}

var programs sync.Map

// ours reads a program of this module: starter, worker or sandbox.
func ours(t *testing.T, name string) program {
	t.Helper()
	read, _ := programs.LoadOrStore(name, sync.OnceValues(func() (program, error) { return sources(name) }))
	p, err := read.(func() (program, error))()
	must(t, err)
	if len(p.flags) < 5 || len(p.variables) < 2 {
		t.Fatalf("%s has %d flags and %d variables: this test does not find them any more", name, len(p.flags), len(p.variables))
	}
	return p
}

// What reads the variables of the environment that are not read by us.
var readsEnvironment = map[string]bool{"go.temporal.io/sdk/contrib/envconfig": true}

var variable = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$`)

func sources(name string) (program, error) {
	p := program{flags: map[string]bool{}, variables: map[string]bool{}}
	list := exec.Command("go", "list", "-deps", "-f", `{{if .Module}}{{if or .Module.Main (eq .ImportPath "go.temporal.io/sdk/contrib/envconfig")}}{{.ImportPath}} {{.Dir}}{{end}}{{end}}`, "./"+name)
	list.Dir = top
	output, err := list.Output()
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(string(output)) {
		path, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return p, err
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				return p, err
			}
			p.read(parsed, !readsEnvironment[path])
		}
	}
	return p, nil
}

// read finds the names that a file gives to flags, in calls such as
// f.StringVar(&o.auth, "auth", …) and tilde.Var(f, &o.File, "config-file", …), and
// the strings that are names of variables.
func (p program) read(file *ast.File, withFlags bool) {
	text := func(e ast.Expr) string {
		literal, ok := e.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return ""
		}
		s, _ := strconv.Unquote(literal.Value)
		return s
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			method, ok := n.Fun.(*ast.SelectorExpr)
			if withFlags && ok && len(n.Args) > 2 && (strings.HasSuffix(method.Sel.Name, "Var") || strings.HasSuffix(method.Sel.Name, "VarP")) {
				if name := cmp.Or(text(n.Args[1]), text(n.Args[2])); name != "" {
					p.flags[name] = true
				}
			}
		case *ast.BasicLit:
			if s := text(n); variable.MatchString(s) {
				p.variables[s] = true
			}
		}
		return true
	})
}

// checkArguments says which arguments a program does not take.
func checkArguments(t *testing.T, where, program string, arguments []string) {
	t.Helper()
	p := ours(t, program)
	for _, argument := range arguments {
		name, isFlag := strings.CutPrefix(argument, "--")
		if name, _, _ = strings.Cut(name, "="); isFlag && !p.flags[name] {
			t.Errorf("%s gives --%s to the %s, which has no such flag; change one of the two", where, name, program)
		}
	}
}

// checkVariables says which variables a program does not read.
func checkVariables(t *testing.T, where, program string, variables map[string]string) {
	t.Helper()
	p := ours(t, program)
	for name := range variables {
		if !p.variables[name] {
			t.Errorf("%s sets %s for the %s, which does not read it; change one of the two", where, name, program)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, path))
	must(t, err)
	return string(data)
}
