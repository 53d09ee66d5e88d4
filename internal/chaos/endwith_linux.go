package main

import (
	"os/exec"
	"syscall"
)

// endWithThisProcess has the system kill the program when the harness dies.
func endWithThisProcess(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
