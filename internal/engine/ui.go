package engine

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/temporalio/ui-server/v2/server/api"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/csrf"
	"github.com/temporalio/ui-server/v2/server/headers"
	"github.com/temporalio/ui-server/v2/server/route"
	"github.com/temporalio/ui-server/v2/ui"
)

// preferredUI is where the temporal CLI's development server shows its Web UI
// as well; another free port is taken when it is in use.
const preferredUI = "127.0.0.1:8233"

// webUI is Temporal's Web UI on a listener of ours. The server that the module
// brings opens its port by itself, and ends the process when it is in use.
type webUI struct {
	listener net.Listener
	http     *http.Server
}

// startUI serves the Web UI for the service at frontend, on loopback.
func startUI(frontend string) (*webUI, error) {
	provider, err := uiconfig.NewConfigProviderWithRefresh(&uiconfig.Config{
		TemporalGRPCAddress: frontend,
		Host:                loopback,
		EnableUI:            true,
		DefaultNamespace:    Namespace,
		DisableNewsFetch:    true,
		HideLogs:            true,
		CORS:                uiconfig.CORS{CookieInsecure: true}, // plain HTTP on loopback
	})
	if err != nil {
		return nil, err
	}
	all, err := ui.Assets()
	if err != nil {
		return nil, err
	}
	assets, err := fs.Sub(all, "local")
	if err != nil {
		return nil, err
	}
	const overTLS, publicPath = false, ""
	e := echo.New()
	e.Use(middleware.Recover(), middleware.Gzip(), middleware.Secure())
	// Without it any page in the user's browser could send commands here.
	e.Use(csrf.EnsureTokenCookie(overTLS), middleware.CSRFWithConfig(csrf.MiddlewareConfig(provider, overTLS)))
	if err := route.SetAPIRoutes(e, provider, []api.Middleware{headers.WithForwardHeaders([]string{"Caller-Type"})}); err != nil {
		return nil, err
	}
	if err := route.SetUIRoutes(e, publicPath, assets, provider); err != nil {
		return nil, err
	}
	route.SetRenderRoute(e, "/")

	listener, err := net.Listen("tcp", preferredUI)
	if err != nil {
		listener, err = net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	}
	if err != nil {
		return nil, err
	}
	u := &webUI{listener: listener, http: &http.Server{Handler: e, ReadHeaderTimeout: 10 * time.Second}}
	go func() {
		if err := u.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			_ = listener.Close()
		}
	}()
	return u, nil
}

// url is where a browser finds it.
func (u *webUI) url() string { return "http://" + u.listener.Addr().String() }

func (u *webUI) stop() { _ = u.http.Close() }
