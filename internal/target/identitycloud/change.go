package identitycloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Update changes the given attributes and leaves the others unchanged (entity.update at the root of the record). attributes
// is one JSON object, sent byte for byte; an empty one changes only lastUpdated.
//
// A call with scalars and objects may be repeated: it sets the same values again, over whatever was written meanwhile. A
// call with a plural may not, because it adds the elements each time. Never give a plural here; see Replace.
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

// Replace sets one attribute, usually a plural, to a new value (entity.replace with attribute_name). Members that value
// lacks become null, or the plural empty. value is JSON, sent byte for byte; attribute is a path with dots. It cannot
// replace a whole record: a forgotten attribute would be lost.
//
// The call may be repeated: it sets the same values. The elements of a plural get new ids each time.
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

// Delete deletes a whole record permanently (entity.delete).
//
// By uuid the call may be repeated: uuids are not reused, and a repeated call fails with an *APIError for which IsNotFound
// is true, which after an unknown outcome means that the record is deleted. By key a repeated call may delete a record that
// was created since.
//
// Other errors: see IsUnknown.
func (c *Client) Delete(ctx context.Context, ref Ref) error {
	form, err := ref.appendTo(slices.Clone(c.common))
	if err != nil {
		return err
	}
	return c.change(ctx, "/entity.delete", form)
}

// change sends a call whose answer holds nothing but its success.
func (c *Client) change(ctx context.Context, endpoint string, form []byte) error {
	answer, _ := c.ask(ctx, endpoint, form)
	return c.failed(answer)
}

// unknownError is the error of a call with the verdict Unknown, or TooLarge without proof that nothing was written.
type unknownError struct{ err error }

func (e unknownError) Error() string { return e.err.Error() }
func (e unknownError) Unwrap() error { return e.err }

// IsUnknown reports, for an error of View, Update, Replace, Delete, EntityType, FindEntities or FindWritten, whether the
// outcome of the call is unknown: the verdict Unknown of the table at Answer, or a body that is too large for a hop on the
// way. For a read it means that the API gave no reliable answer.
//
// errors.As finds the cause: an *APIError, an *HTTPError or a *NoAnswerError. A missing permission (code 403) is on the list
// of unknown codes too, unless Config.Unknown differs. An error for which IsUnknown is false is final: the call was refused,
// or not sent at all. In the second case the cause is none of the three types, but the error of BeforeCall or of the
// context, or an error about the arguments.
func IsUnknown(err error) bool {
	var unknown unknownError
	return errors.As(err, &unknown)
}

// IsFault reports whether such an error is the Fault of an Answer: it does not concern the record of the call.
func IsFault(err error) bool {
	return errors.Is(err, ErrCredentials) || errors.Is(err, ErrEntityType) || errors.Is(err, ErrNotIdentityCloud)
}

// failed returns the error of a call: Answer.Err, wrapped for IsUnknown and IsFault.
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
