"""LSTM, GRU and RNN in C."""
