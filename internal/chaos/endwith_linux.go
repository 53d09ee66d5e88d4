package main

import (
	"os/exec"
	"syscall"
)

// endWithThisProcess has the system kill the program when the harness dies.
func endWithThisProcess(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
