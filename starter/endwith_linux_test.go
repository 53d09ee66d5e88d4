package main_test

import (
	"os/exec"
	"syscall"
)

// endWithThisProcess has the system kill the program when the tests die.
func endWithThisProcess(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
