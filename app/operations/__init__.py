"""Operations for operators, used by commands and pages alike."""
