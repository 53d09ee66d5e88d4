package identitycloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Update changes the attributes that are given and leaves the others as they are (entity.update at the root of the
// record). attributes is one JSON object, which travels byte for byte; an empty one changes nothing but lastUpdated.
//
// A call with scalars and objects may be repeated: it sets the same values again, over whatever was written between.
// With a plural it may not: its elements are added each time. Never give a plural here; see Replace.
//
// A record that does not exist is an *APIError for which IsNotFound is true. Other errors: see IsUnknown.
func (c *Client) Update(ctx context.Context, ref Ref, attributes []byte) error {
	if !isOneObject(attributes) {
		return errors.New("the attributes of an update are not one JSON object in UTF-8")
	}
	form, err := ref.appendTo(slices.Clone(c.common))
	if err != nil {
		return err
	}
	return c.change(ctx, "/entity.update", appendParameter(form, "value", string(attributes)))
}

// Replace gives one attribute, mostly a plural, a new value (entity.replace with attribute_name). What value does not
// hold becomes null, or the plural empty. value is JSON and travels byte for byte; attribute is a path with dots. A
// whole record cannot be replaced with it: a forgotten attribute would be lost.
//
// The call may be repeated: the values are the same again. But the elements of a plural get new ids each time.
//
// A record that does not exist is an *APIError for which IsNotFound is true. Other errors: see IsUnknown.
func (c *Client) Replace(ctx context.Context, ref Ref, attribute string, value []byte) error {
	if err := checkPath(attribute); err != nil {
		return err
	}
	if !json.Valid(value) || !utf8.Valid(value) {
		return fmt.Errorf("the new value of %s is not JSON in UTF-8", attribute)
	}
	form, err := ref.appendTo(slices.Clone(c.common))
	if err != nil {
		return err
	}
	form = appendParameter(form, "attribute_name", attribute)
	return c.change(ctx, "/entity.replace", appendParameter(form, "value", string(value)))
}

// Delete removes a whole record, for good (entity.delete).
//
// By uuid the call may be repeated: uuids do not come back, and a repeated call says that there is no such record (an
// *APIError for which IsNotFound is true), which after an unknown outcome means done. By key a repeated call may meet
// a record that was created since.
//
// Other errors: see IsUnknown.
func (c *Client) Delete(ctx context.Context, ref Ref) error {
	form, err := ref.appendTo(slices.Clone(c.common))
	if err != nil {
		return err
	}
	return c.change(ctx, "/entity.delete", form)
}

// change sends a call of which nothing is wanted but that it is done.
func (c *Client) change(ctx context.Context, endpoint string, form []byte) error {
	answer, _ := c.ask(ctx, endpoint, form)
	return c.failed(answer)
}

// unknownError is the error of a call with the verdict Unknown, or TooLarge without a proof that nothing was written.
type unknownError struct{ err error }

func (e unknownError) Error() string { return e.err.Error() }
func (e unknownError) Unwrap() error { return e.err }

// IsUnknown says, of an error of View, Update, Replace, Delete, EntityType, FindEntities or FindWritten, that the call
// may or may not have been done: the verdict Unknown of the table at Answer, or a size that something on the way refuses. For a call that only reads it says that
// the API gave no answer to rely on.
//
// What stands behind such an error, errors.As finds: an *APIError, an *HTTPError or a *NoAnswerError. A permission
// that is missing (code 403) is on the list of unknown codes too, unless Config.Unknown says otherwise. An error for
// which IsUnknown is false is final: the call was refused, or it was not sent at all. In the second case there is
// none of the three types behind it, but the error of BeforeCall or of the context, or one that says what is wrong
// with the arguments.
func IsUnknown(err error) bool {
	var unknown unknownError
	return errors.As(err, &unknown)
}

// IsFault says, of such an error, that it is the Fault of an Answer: it is not about the record of the call.
func IsFault(err error) bool {
	return errors.Is(err, ErrCredentials) || errors.Is(err, ErrEntityType) || errors.Is(err, ErrNotIdentityCloud)
}

// failed is the error of a call: Answer.Err, with what IsUnknown and IsFault look for.
func (c *Client) failed(a Answer) error {
	err := a.Err
	if a.Fault != nil {
		err = a.Fault
	}
	if a.Verdict == Unknown || a.Verdict == TooLarge && !a.NothingWritten {
		err = unknownError{err}
	}
	return err
}
