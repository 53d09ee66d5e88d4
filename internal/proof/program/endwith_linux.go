package program

import (
	"os/exec"
	"syscall"
)

// EndWithThisProcess has the system kill a command when this process dies.
// Systems other than Linux do not have that.
func EndWithThisProcess(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
