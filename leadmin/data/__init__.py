"""Archives, WFDB records, PTB-XL, the prepared HDF5 file, signal quality, fetching."""
