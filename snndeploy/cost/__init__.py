"""Energy and latency: counts first, then joules, each with an interval and a source."""
