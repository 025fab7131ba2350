package progress

// Rate returns the units finished per second since the start.
func (t *Task) Rate() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rate()
}
